"""A document as staff edit it: the store's own verb writes, its refusals are the form's errors."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError

from stores_app.actions import put
from stores_app.errors import InvalidDocument, StoreError
from stores_app.models import Document
from stores_app.places import Origin, Place
from stores_app.schema_form import PREFIX, build_fields, compose, find_field, show_values
from stores_app.specs import list_stores, open_for_staff


class PlaceForm(forms.ModelForm):  # type: ignore[type-arg]  # not a generic at run time
    """Where a new document shall stand; its fields are the next page's."""

    place = forms.ChoiceField(label="Store")

    class Meta:
        model = Document
        fields = ("scope_id",)
        labels = {"scope_id": "Scope"}
        help_texts = {"scope_id": "May be empty. Shared stores stand in the empty scope."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["place"].choices = [  # type: ignore[attr-defined]  # it is a ChoiceField
            (f"{agent}/{store}", f"{store} of {agent}") for agent, store in list_stores()
        ]


class DocumentForm(forms.ModelForm):  # type: ignore[type-arg]  # not a generic at run time
    """Payload of a document, field by field; `of_place` adds those of a store's schema."""

    seen_version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    class Meta:
        model = Document
        fields = ("agent", "scope_id", "store")
        widgets = dict.fromkeys(fields, forms.HiddenInput)

    staff = ""
    """Who edits; set by the admin."""
    place: Place | None = None
    """The store that is written to; None where it is not served any more."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["seen_version"].initial = self.instance.version
        if self.instance.pk and self.place is not None:
            self.initial.update(show_values(self.place.spec, self.instance.payload))

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
            payload = compose(place.spec, self._typed(), old.payload if old else None)
            origin = Origin("staff", tool=self.staff)
            key = old.key if old else ""
            stored = put(place, payload, origin, if_version=version, key=key)
        except InvalidDocument as error:
            raise self._tell(error) from error
        except StoreError as error:
            raise ValidationError(str(error)) from error
        rows = Document.objects.of_store(place.agent, place.scope_id, place.name)
        self.instance = rows.get(key=stored.key)
        return given

    def _typed(self) -> dict[str, Any]:
        return {n: self.cleaned_data.get(n) for n in self.fields if n.startswith(PREFIX)}

    def _tell(self, error: InvalidDocument) -> ValidationError:
        """Each problem at its field."""
        told: dict[str, list[str]] = {}
        for each in error.details:
            spec = self.place.spec if self.place else None
            name = find_field(spec, each["field"]) if spec else None
            place = name if name in self.fields else None
            text = f"{each['field']}: {each['problem']}"
            told.setdefault(place or "__all__", []).append(text)
        return ValidationError(told)

    def _post_clean(self) -> None:
        """The document is written already; nothing is copied to the row."""

    def save(self, commit: bool = True) -> Any:
        """The row as it was written."""
        return self.instance

    def save_m2m(self) -> None:
        """There is nothing of the kind."""


def of_place(place: Place | None) -> type[DocumentForm]:
    """The form of the documents of one store."""
    fields = build_fields(place.spec) if place is not None else {}
    made = type("StoreDocumentForm", (DocumentForm,), {**fields, "place": place})
    return cast("type[DocumentForm]", made)
