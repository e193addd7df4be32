//! Prints the name of everything it was given, and what the file "inside" of the directory "/data" says.
const std = @import("std");

pub fn main(init: std.process.Init) !void {
    const out = std.Io.File.stdout();
    for (init.preopens.map.keys()) |name| {
        try out.writeStreamingAll(init.io, name);
        try out.writeStreamingAll(init.io, "\n");
    }
    const data = init.preopens.get("/data") orelse return error.NoDirectory;
    var buffer: [100]u8 = undefined;
    const file = try data.dir.openFile(init.io, "inside", .{});
    const count = try file.readStreaming(init.io, &.{&buffer});
    try out.writeStreamingAll(init.io, buffer[0..count]);
}
