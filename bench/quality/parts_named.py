"""The parts' names, for those that need not know how they are measured."""

PARTS = ("shipped", "contenders", "ood", "clinc", "sources", "peers")
