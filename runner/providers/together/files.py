"""Files at Together (https://docs.together.ai/reference/upload-file), which has its own way to upload."""

from __future__ import annotations

from typing import Any

from runner.providers.calls import ServiceFiles, check_items


class TogetherFiles(ServiceFiles):
    """``checked`` says whether the service reads the files before they are used, and tells when it has."""

    checked = False

    def _list_files(self, name: str) -> list[dict[str, Any]]:
        found = check_items(self._ask("GET", "/files", {"data": list})["data"], self._name)
        return [self._note_state(file) for file in found if file.get("purpose") == self.purpose]

    def _get_file(self, file_id: str) -> dict[str, Any]:
        return self._note_state(super()._get_file(file_id))

    def _post_file(self, name: str, content: bytes) -> dict[str, Any]:
        fields = {"purpose": self.purpose, "file_name": name, "file_type": "jsonl"}
        form = {"data": fields, "files": {"file": (name, content, "application/jsonl")}}
        return self._note_state(self._ask("POST", "/files/upload", {"id": str}, **form))

    def _note_state(self, file: dict[str, Any]) -> dict[str, Any]:
        """The file with a state as other services have it: only ``Processed`` says that it was read."""
        unread = self.checked and file.get("Processed") is False
        return file | {"status": "uploaded" if unread else "processed"}
