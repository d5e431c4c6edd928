"""LoRA folders -> servable adapters: train, convert, publish. Knows no HTTP and no prompt of a user."""
