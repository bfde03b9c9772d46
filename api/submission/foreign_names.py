"""The names that other services give to the fields of a submission."""

from __future__ import annotations

from collections.abc import Collection

_IMAGE = "image images file files img input_image image_data data picture photo upload attachment base64 b64 image_b64 \
image_path path image_bytes source image_file image_files image_base64 zip zip_file archive"
_NAMES = {
    "image_url": "url uri image_uri img_url link image_link src input_url file_url",
    "prompt": "text text_prompt query q label labels class classes class_name phrase phrases prompts object objects \
category categories concept target instruction input text_input",
    "model_id": "model model_name engine version checkpoint",
    "mask_format": "format formats mask_type response_mask_format output_format response_format return_format masks",
    "timeout": "timeout_s timeout_seconds time_limit ttl deadline max_time expires_in",
    "priority": "prio urgency",
    "webhook_url": "webhook webhooks callback callbacks callback_url hook hook_url notify_url notification_url",
    "webhook_events": "webhook_events_filter webhook_event events",
    "metadata": "meta extra custom custom_data user_data extra_data",
    "ref": "reference external_id client_id custom_id request_id job_id id name tag",
    "tiles": "tiling slices slice sahi grid crops patches",
    "duplicates": "nms nms_threshold iou iou_threshold overlap_threshold dedupe deduplicate merge",
    "score_threshold": "threshold confidence confidence_threshold conf min_score min_confidence box_threshold",
}
_HEADERS = {
    "the header Prefer: wait=N": "wait sync synchronous blocking wait_for_result",
    "the header Idempotency-Key": "idempotency_key idempotency_token dedup_key",
    "the header Authorization": "api_key apikey key token access_token auth authorization",
}
"""What is no field here, but a header."""


def foreign_names(known: Collection[str], image_fields: Collection[str]) -> dict[str, str]:
    """What to send instead, by the names that other services use.

    Args:
        known: the fields of this kind of submission.
        image_fields: those of them that carry the image or its URL.
    """
    image = dict.fromkeys(_IMAGE.split(), " or ".join(image_fields))
    others = {foreign: name for name, names in _NAMES.items() if name in known for foreign in names.split()}
    headers = {foreign: header for header, names in _HEADERS.items() for foreign in names.split()}
    return {**image, **others, **headers}
