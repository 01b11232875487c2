"""The machine and the installation under a run: its facts and files, files of others, and processes of our own."""
