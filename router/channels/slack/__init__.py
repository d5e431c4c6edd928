"""Slack as a channel: assistant threads, mentions, direct messages and a slash command, on the same router."""
