/* A guest that is both a command, which does what its first argument says, and an HTTP service in the manner of
 * browsers, with a listener for `fetch`. The engine it is packed with brings that listener for its own version of
 * WASI, so the whole guest is of that version.
 */
import { getArguments, getEnvironment } from "wasi:cli/environment@0.2.3";
import { exitWithCode } from "wasi:cli/exit@0.2.3";
import { getStdin } from "wasi:cli/stdin@0.2.3";
import { getStdout } from "wasi:cli/stdout@0.2.3";
import { getDirectories } from "wasi:filesystem/preopens@0.2.3";

const text = (data) => new TextDecoder().decode(data);
const bytes = (data) => new TextEncoder().encode(data);
const after = (ms, value) => new Promise((resolve) => setTimeout(resolve, ms, value));

const COMMANDS = {
  args: (...rest) => console.log(JSON.stringify(rest)),
  env: () => console.log(JSON.stringify(getEnvironment().filter(([name]) => name.startsWith("T_")))),
  exit: (code) => exitWithCode(Number(code)),
  stderr: () => console.error("to stderr"),
  throw: () => {
    throw new Error("it failed");
  },
  reject: async () => {
    await after(1);
    throw new Error("it failed later");
  },
  write: (count) => {
    const sink = getStdout();
    const piece = bytes("x".repeat(4096));
    for (let i = 0; i < Number(count); i++) sink.blockingWriteAndFlush(piece);
  },
  stdin: () => console.log(text(readAll(getStdin())).toUpperCase()),
  /* The order is that of the times, not of the calls, unless several are over by the time one looks; the
     microtask comes before any of them. */
  timers: async () => {
    const done = [600, 200, 400].map((ms) => after(ms, ms).then((which) => console.log("after", which)));
    Promise.resolve().then(() => console.log("at once"));
    await Promise.all(done);
    let ticks = 0;
    await new Promise((resolve) => {
      const timer = setInterval(() => {
        if (++ticks === 3) resolve(clearInterval(timer));
      }, 5);
    });
    console.log("ticks", ticks);
  },
  sleep: async (ms, word) => console.log(await after(Number(ms), word)),
  files: () => {
    const [[folder, name]] = getDirectories();
    const file = folder.openAt({}, "made", { create: true }, { write: true });
    file.write(bytes("by the guest"), 0n);
    const names = [];
    const entries = folder.readDirectory();
    for (let entry; (entry = entries.readDirectoryEntry()); ) names.push(`${entry.type} ${entry.name}`);
    console.log(name, names.sort().join(", "));
    const [data, isEnd] = folder.openAt({}, "made", {}, { read: true }).read(100n, 3n);
    console.log(text(data), isEnd);
    const open = (path) => attempt(() => folder.openAt({}, path, {}, { read: true }));
    for (const path of ["nothing", "../outside"]) console.log(path, open(path));
  },
  fetch: async (url) => {
    const response = await fetch(url);
    console.log(response.status, response.headers.get("content-type"), await response.text());
  },
};

export const run = {
  async run() {
    const [, name, ...rest] = getArguments();
    await COMMANDS[name](...rest);
  },
};

const ANSWERS = {
  "/": () => new Response("hello\n", { headers: { "content-type": "text/plain" } }),
  "/echo": (request) => new Response(request.body, { status: 201 }),
  "/length": async (request) => new Response(`${(await request.arrayBuffer()).byteLength}`),
  "/headers": (request) => new Response(request.headers.get("x-asked"), { headers: { "x-answer": "a, b" } }),
  "/slow": async () => new Response(await after(100, "slow")),
  "/pieces": () => new Response(pieces()),
  "/throw": () => {
    throw new Error("it failed");
  },
  "/reject": async () => {
    await after(1);
    throw new Error("it failed later");
  },
};

addEventListener("fetch", (event) => {
  const { pathname } = new URL(event.request.url);
  event.respondWith((ANSWERS[pathname] ?? (() => new Response("", { status: 404 })))(event.request));
});

/* A body that is made while it is sent. */
function pieces() {
  let count = 0;
  return new ReadableStream({
    async pull(controller) {
      if (count === 5) return controller.close();
      await after(5);
      controller.enqueue(bytes(`piece ${++count}\n`));
    },
  });
}

function readAll(source) {
  const read = [];
  for (;;) {
    const piece = attempt(() => source.blockingRead(4096n));
    if (typeof piece === "string") return new Uint8Array(read);
    read.push(...piece);
  }
}

/* What a call returns, or the name of the error that it ends with. */
function attempt(call) {
  try {
    return call();
  } catch (error) {
    return error.payload?.tag ?? error.payload ?? String(error);
  }
}
