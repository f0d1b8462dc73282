"""The larger groups of commands: names, options and help of each, and nothing of what a command does."""
