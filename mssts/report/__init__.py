"""Tables, figures, attention maps and the PDF of a study, from the files of its runs."""
