"""The pages of staff under `/automations/`: what runs when, with what result, and changing it.

Law: Django's own permissions decide (`view`, `add`, `change` of an automation); every change is
in the audit log, with who and what, and the pages' history is read from there. Foreign text is
shown as text.
"""
