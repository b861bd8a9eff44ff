"""`manage.py makedata`: rows of a long life, made by the database itself, to measure pages by."""
