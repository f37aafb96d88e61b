"""Rows to chats, chats to answers, answers to predictions and verdicts; and fine-tuning on such chats."""
