// Says hello, and gives back its arguments; the program's name is left out.
console.log("hello from assemblyscript");
process.stderr.write("hello on stderr\n");
const args = process.argv;
for (let i = 1; i < args.length; i++) console.log("arg " + args[i]);
