// Lets only some tasks run at once. Browsers open six connections to a host, and one must be left for what the user does.

export class Slots {
  #free;
  #waiting = [];

  constructor(number) {
    this.#free = number;
  }

  async run(task) {
    if (this.#free) this.#free--;
    else await new Promise(resolve => this.#waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}
