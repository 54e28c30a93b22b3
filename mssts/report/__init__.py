"""The report of a study: its tables, figures and PDF, from the files of the runs. Presentation only."""
