// Counts the bytes and lines of its input, looks at its variables, a clock and the random source, and ends
// with the status that its first argument names.
const before = process.hrtime();
const buffer = new ArrayBuffer(256);
let bytes = 0, lines = 0;
for (;;) {
  const count = process.stdin.read(buffer);
  if (count == 0) break;
  const seen = Uint8Array.wrap(buffer, 0, count);
  for (let i = 0; i < count; i++) if (seen[i] == 10) lines++;
  bytes += count;
}
process.stdout.write(bytes.toString() + " bytes, " + lines.toString() + " lines\n");
console.log(process.env.has("GREETING") ? process.env.get("GREETING") : "no greeting");

// A date before 2017 would be a clock that nobody set.
console.log(Date.now() > 1500000000000 ? "the date is plausible" : "the date is wrong");
console.log(process.hrtime() >= before ? "the clock goes on" : "the clock went back");

const random = new Uint8Array(64);
crypto.getRandomValues(random);
let sum = 0;
for (let i = 0; i < random.length; i++) sum += random[i];
console.log(sum > 0 ? "random bytes came" : "no random bytes");

if (process.argv.length > 1) process.exit(I32.parseInt(process.argv[1]));
