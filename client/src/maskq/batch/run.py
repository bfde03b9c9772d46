"""A batch: a plan of images, a journal, and a folder of results.

The journal decides what is left to do. So the same command goes on after any interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import uuid4

from maskq.batch.documents import write_coco, write_failures, write_labelstudio
from maskq.batch.errors import BatchRefused
from maskq.batch.folder import ResultFolder, written
from maskq.batch.images import ImageFile, ImagePlan
from maskq.batch.journal import DONE, FAILED, Entry, Journal
from maskq.batch.lock import FolderLock
from maskq.batch.loop import each_as_it_ends
from maskq.batch.settings import BatchSettings, differences
from maskq.batch.task import Task
from maskq.client import Client
from maskq.typed import Json, Self

_NAMED = 5
"""How many images a message names."""


class Batch:
    """One batch in one folder. Use as a context: no other process can work on the folder meanwhile."""

    def __init__(self, plan: ImagePlan, settings: BatchSettings, out: Path, *, restart: bool = False) -> None:
        """Begin a batch, or go on with one.

        Raises:
            BatchRefused: the folder has another batch, or another process works on it.
            NotWritten: nothing can be written there.
        """
        self.folder = ResultFolder(out)
        self.folder.make()
        self._root, self._settings = plan.root, settings
        self._lock = FolderLock(self.folder.lock)
        try:
            if restart:
                self.folder.clear()
            self.journal = self._opened(plan)
        except BaseException:
            self._lock.release()
            raise
        self.done_before = self.count(DONE)
        """How many images were done when this process began."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.journal.close()
        self._lock.release()

    def count(self, status: str | None = None) -> int:
        """How many images are done, have failed, or (None) have not ended."""
        return self.journal.count(status)

    def to_do(self, *, retry_failed: bool) -> list[Entry]:
        """The images that have not ended, in order; on request those that have failed as well."""
        wanted = (None, FAILED) if retry_failed else (None,)
        return [entry for entry in self.journal.entries.values() if entry.status in wanted]

    def run(
        self, client: Client, entries: Sequence[Entry], concurrency: int, is_stopped: Callable[[], bool]
    ) -> Iterator[tuple[str, Json]]:
        """Carry out the jobs of some images. Yields the name of each with how it ended, once that is written down.

        Raises:
            MaskqError: the service does not answer, or refuses more than one image. The batch can go on later.
        """
        task = Task(client, self._settings, self._root, self.folder)

        def work(entry: Entry) -> Json:
            return task.end_of(entry.file.name, self.journal.key_of(entry))

        for entry, end in each_as_it_ends(work, entries, concurrency, is_stopped):
            with written(self.folder.journal):
                self.journal.add_end(entry, end)
            yield entry.file.name, end

    def write_documents(self, *, coco: bool, labelstudio_prefix: str) -> list[Path]:
        """Write the documents about all images that have ended. Returns their paths."""
        write_failures(self.journal, self.folder)
        paths = [self.folder.failures] if self.count(FAILED) else []
        if coco:
            write_coco(self.journal, self.folder.coco)
            paths.append(self.folder.coco)
        if self._settings.labelstudio:
            write_labelstudio(self.journal, self.folder.labelstudio, labelstudio_prefix)
            paths.append(self.folder.labelstudio)
        return paths

    def _opened(self, plan: ImagePlan) -> Journal:
        settings = self._settings.json(str(plan.root))
        with written(self.folder.journal):
            journal = self._read(settings)
            if found := [*differences(journal.head["settings"], settings), *_changed(journal, plan.images)]:
                journal.close()
                if journal.count(DONE):
                    raise BatchRefused(
                        f"the batch in {self.folder.path} differs: {'; '.join(found)} (--restart begins anew)"
                    )
                self.folder.clear()  # such as after a wrong option, which the service refused
                journal = self._read(settings)
            journal.add_images(each for each in plan.images if _is_news(journal.entries.get(each.name), each))
        return journal

    def _read(self, settings: Json) -> Journal:
        return Journal(self.folder.journal, {"id": str(uuid4()), "settings": settings})


def _changed(journal: Journal, images: Sequence[ImageFile]) -> Iterator[str]:
    """Images that are not what they were when they were submitted. One that has failed may be mended."""
    entries = ((journal.entries.get(image.name), image) for image in images)
    names = [image.name for entry, image in entries if entry and entry.status != FAILED and _is_news(entry, image)]
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"files have changed: {', '.join(map(repr, names[:_NAMED]))}{more}"


def _is_news(entry: Entry | None, image: ImageFile) -> bool:
    """Whether the journal does not know this content. A file that is gone is no other content."""
    return entry is None or (image.size_bytes is not None and entry.file != image)
