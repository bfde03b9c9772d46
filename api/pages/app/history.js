// What survives a reload: records of jobs, and pictures as blobs. In IndexedDB, bounded.

const NAME = "maskq";
const STORES = ["records", "pictures"];
const MAX_RECORDS = 40;
const MAX_BYTES = 200_000_000;

/** Without IndexedDB, as in some private windows, all is kept in the memory of the page. */
export class History {
  #database = null;
  #memory = { records: new Map(), pictures: new Map() };

  async open() {
    this.#database = await opened().catch(() => null);
    return this;
  }

  /** All records, oldest first. */
  async records() {
    const all = await this.#all("records");
    return all.sort((one, other) => one.createdAt - other.createdAt);
  }

  async picture(id) {
    return this.#memory.pictures.get(id) ?? this.#do("pictures", "readonly", store => store.get(id), memory => memory.get(id));
  }

  async keepPicture(picture) {
    await this.#put("pictures", picture);
    await this.#shrink();
  }

  async keep(record) {
    await this.#put("records", record);
  }

  async forget(id) {
    await this.#delete("records", id);
    await this.#shrink();
  }

  async clear() {
    for (const name of STORES) await this.#do(name, "readwrite", store => store.clear(), memory => memory.clear());
  }

  /** Drop pictures that no record needs, and the oldest records beyond the bounds. */
  async #shrink() {
    const records = (await this.records()).reverse();
    const pictures = new Map((await this.#all("pictures")).map(each => [each.id, each]));
    const kept = new Set();
    let bytes = 0;
    for (const [index, record] of records.entries()) {
      const size = kept.has(record.pictureId) ? 0 : pictures.get(record.pictureId)?.blob?.size ?? 0;
      const fits = index < MAX_RECORDS && bytes + size <= MAX_BYTES;
      if (!fits) await this.#delete("records", record.id);
      else { bytes += size; kept.add(record.pictureId); }
    }
    const young = Date.now() - 3_600_000;  // a picture may be chosen already and have no record yet
    for (const picture of pictures.values())
      if (!kept.has(picture.id) && picture.addedAt < young) await this.#delete("pictures", picture.id);
  }

  #all(name) {
    return this.#do(name, "readonly", store => store.getAll(), memory => [...memory.values()]);
  }

  #put(name, value) {
    return this.#do(name, "readwrite", store => store.put(value), memory => memory.set(value.id, value));
  }

  #delete(name, id) {
    return this.#do(name, "readwrite", store => store.delete(id), memory => memory.delete(id));
  }

  /** A full disk must not stop a job, so what fails in the database is done in memory. */
  async #do(name, mode, inDatabase, inMemory) {
    if (!this.#database) return inMemory(this.#memory[name]);
    try {
      const transaction = this.#database.transaction(name, mode);
      const request = inDatabase(transaction.objectStore(name));
      await completed(transaction);
      return request.result;
    } catch {
      return inMemory(this.#memory[name]);
    }
  }
}

function opened() {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => STORES.forEach(name => request.result.createObjectStore(name, { keyPath: "id" }));
  return settled(request);
}

/** A write is safe once its transaction is complete: a full disk is found at its end. */
function completed(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error);
  });
}

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
