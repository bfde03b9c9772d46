"""How long an ended job is kept: arguments of every script that ends jobs."""

from __future__ import annotations

from shared.settings import RetentionSettings


def retention_arguments(settings: RetentionSettings) -> dict[str, int]:
    """Seconds, by the names of the arguments.

    `retention_s`: from the job's end until its record and its result expire.
    `image_retention_s`: from the job's end until its image expires, at most `retention_s`.
    `tombstone_s`: from the expiry of the record until that of the tombstone.
    """
    return {
        "retention_s": settings.retention_s,
        "image_retention_s": settings.image_retention_s,
        "tombstone_s": settings.tombstone_s,
    }
