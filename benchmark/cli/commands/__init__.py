"""The commands by name and option; the body of each is imported only when it runs."""
