"""Tables for papers: LaTeX that fits the width it is given."""
