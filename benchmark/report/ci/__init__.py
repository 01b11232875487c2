"""What the readers of CI understand: JUnit XML, workflow commands, Markdown and badges, all from one `GateReport`."""
