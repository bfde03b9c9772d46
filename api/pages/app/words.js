// Errors in words: what happened, and what the user can do.

const BY_TYPE = {
  offline: "The service cannot be reached. The page tries again by itself.",
  model_unserved: "No worker is live for this model. Start a worker, then try again.",
  image_too_large: "The image has too many pixels for this service",
  payload_too_large: "The image is too large for this service",
  unsupported_image: "This image format is not supported",
  job_expired: "The service no longer has this job. Its time is over.",
  job_deleted: "This job was deleted.",
  job_not_found: "The service does not know this job. It was deleted, has expired, or belongs to another API key.",
  image_expired: "The service no longer has the image of this job.",
  scope_missing: "The API key does not allow this",
};
const BY_STATUS = { 404: "The service does not know this address", 413: BY_TYPE.payload_too_large, 502: BY_TYPE.offline, 504: BY_TYPE.offline };

/** What is wrong. `problem`: the problem+json of the service, or null if a proxy answered something else. */
export function describe(status, problem, hadKey) {
  if (status === 401) return hadKey ? "The service does not accept this API key." : "This service needs an API key.";
  const known = BY_TYPE[problem?.type] ?? (problem ? null : BY_STATUS[status]);
  if (known?.endsWith(".")) return known;
  const parts = [known ?? problem?.title ?? `The service answered with status ${status}`, problem?.detail];
  return `${parts.filter(Boolean).join(": ")}.`.replace(/\.\.$/, ".");
}

export const OFFLINE = BY_TYPE.offline;

/** "1 object", "3 objects". */
export const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

/** What the card says about a record that has not failed. */
export function stateInWords(record) {
  switch (record.state) {
    case "waiting": return "Waits to be uploaded";
    case "uploading": return `Uploading: ${Math.round((record.progress ?? 0) * 100)} %`;
    case "queued": return queued(record.job?.queue_position);
    case "processing": return "The model is looking at it";
    case "canceled": return "Canceled";
    case "succeeded": return found(record.job.result);
    default: return record.problem ?? "";
  }
}

function queued(position) {
  if (position === null || position === undefined) return "Queued";
  return position ? `Queued: ${count(position, "job")} before it` : "Queued: next";
}

function found(result) {
  const number = result.objects.length;
  return number ? `${count(number, "object")} found` : "Nothing found. Try another phrase.";
}
