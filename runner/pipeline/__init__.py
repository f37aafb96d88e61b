"""From rows to chats, from chats to answers, from answers to values; and the training on such chats."""
