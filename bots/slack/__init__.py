"""Slack: slack-bolt's AsyncApp in a process of its own, in Socket Mode or behind a request URL, without torch."""
