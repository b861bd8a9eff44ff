"""A document as staff edit it: the store's own verb writes, its refusals are the form's errors."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from stores_app.actions import put
from stores_app.errors import InvalidDocument, StoreError
from stores_app.models import Document
from stores_app.places import Origin
from stores_app.specs import open_for_staff


class DocumentForm(forms.ModelForm):  # type: ignore[type-arg]  # not a generic at run time
    """Payload of a document; partition and store too when it is a new one."""

    seen_version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    class Meta:
        model = Document
        fields = ("agent", "scope_id", "store", "payload")

    staff = ""
    """Who edits; set by the admin."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["seen_version"].initial = self.instance.version

    def clean(self) -> dict[str, Any]:
        """Write the document if all else is right."""
        given = super().clean() or {}
        if self.errors:
            return given
        old = self.instance if self.instance.pk else None
        agent, scope_id, store = (
            getattr(old, name) if old else given.get(name) or ""
            for name in ("agent", "scope_id", "store")
        )
        version = given.get("seen_version") if old else 0
        try:
            place = open_for_staff(agent, scope_id, store)
            origin = Origin("staff", tool=self.staff)
            key = old.key if old else ""
            stored = put(place, given["payload"], origin, if_version=version, key=key)
        except InvalidDocument as error:
            told = [f"{each['field']}: {each['problem']}" for each in error.details]
            raise ValidationError({"payload": told}) from error
        except StoreError as error:
            raise ValidationError(str(error)) from error
        rows = Document.objects.of_store(place.agent, place.scope_id, place.name)
        self.instance = rows.get(key=stored.key)
        return given

    def _post_clean(self) -> None:
        """The document is written already; nothing is copied to the row."""

    def save(self, commit: bool = True) -> Any:
        """The row as it was written."""
        return self.instance

    def save_m2m(self) -> None:
        """There is nothing of the kind."""
