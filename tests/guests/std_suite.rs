//! What Rust's std says of its host, one line for each fact.
//!
//! Run as `std_suite DIRECTORY`, in which it makes what it needs and leaves nothing. With LISTENER in its
//! environment, the number of a descriptor that listens, it also serves one client. Where a sandbox answers
//! something else than an operating system, the line begins with `sandbox:` or `system:`.

use std::collections::HashMap;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufWriter, IoSlice, Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::os::fd::FromRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, thread};

fn fact(what: &str, got: impl Debug) {
    println!("{what}: {got:?}");
}

/// The kind of an error that has one everywhere; others are refusals and no more.
fn told<T>(result: io::Result<T>) -> String {
    match result.map_err(|error| error.kind()) {
        Ok(_) => "done".to_string(),
        Err(kind @ (io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists)) => format!("{kind:?}"),
        Err(kind @ (io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput)) => format!("{kind:?}"),
        Err(_) => "refused".to_string(),
    }
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = if entry.file_type()?.is_dir() { "/" } else { "" };
        found.push(format!("{}{kind}", entry.file_name().to_string_lossy()));
    }
    found.sort();
    Ok(found)
}

fn given() {
    for argument in env::args().skip(2) {
        fact("argument", argument);
    }
    let mut variables: Vec<_> = env::vars().filter(|(name, _)| name.starts_with("FACT_")).collect();
    variables.sort();
    fact("variables", variables);
    fact("no such variable", env::var("FACT_NONE"));
    for line in io::stdin().lock().lines() {
        fact("line", line.unwrap_or_else(|error| error.to_string()));
    }
    let mut rest = Vec::new();
    fact("read at the end", io::stdin().read_to_end(&mut rest).ok());
}

fn time() {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    fact("it is after 2020", since.map(|since| since.as_secs() > 1_577_836_800).ok());
    let start = Instant::now();
    thread::sleep(Duration::from_millis(30));
    let lasted = start.elapsed();
    fact("a sleep lasts", lasted >= Duration::from_millis(30) && lasted < Duration::from_secs(30));
    fact("time goes on", Instant::now() >= start);
}

fn files(root: &Path) -> io::Result<()> {
    let path = root.join("file");
    fact("open what is not there", told(File::open(&path)));
    fs::write(&path, b"0123456789")?;
    fact("read it", fs::read_to_string(&path)?);
    fact("its size", fs::metadata(&path)?.len());
    fact("make it anew", told(OpenOptions::new().write(true).create_new(true).open(&path)));
    OpenOptions::new().append(true).open(&path)?.write_all(b"abc")?;
    let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
    fact("seek from the end", file.seek(SeekFrom::End(-4))?);
    let mut four = [0; 4];
    file.read_exact(&mut four)?;
    fact("the last four", String::from_utf8_lossy(&four));
    fact("seek before the start", told(file.seek(SeekFrom::Current(-100))));
    fact("where it is", file.stream_position()?);
    file.set_len(3)?;
    file.rewind()?;
    let mut text = String::new();
    fact("read what is left", file.read_to_string(&mut text)?);
    fact("it is", text);
    let slices = [IoSlice::new(b"de"), IoSlice::new(b""), IoSlice::new(b"fgh")];
    fact("write three pieces", file.write_vectored(&slices)?);
    file.sync_all()?;
    drop(file);
    fact("all of it", fs::read_to_string(&path)?);
    fact("write what is open for reading", told(File::open(&path)?.write(b"x")));
    let changed = fs::metadata(&path)?.modified()?;
    let apart = SystemTime::now().duration_since(changed).unwrap_or_else(|ahead| ahead.duration());
    fact("it was changed just now", apart < Duration::from_secs(60));
    fact("copy it", fs::copy(&path, root.join("copy"))?);
    fact("the copy", fs::read_to_string(root.join("copy"))?);
    fs::remove_file(root.join("copy"))?;
    fs::remove_file(&path)?;
    fact("remove it again", told(fs::remove_file(&path)));
    Ok(())
}

fn large(root: &Path) -> io::Result<()> {
    let path = root.join("large");
    let mut writer = BufWriter::new(File::create(&path)?);
    for number in 0..200_000_u32 {
        writer.write_all(&number.to_le_bytes())?;
    }
    writer.flush()?;
    let data = fs::read(&path)?;
    fact("a large file", data.len());
    let right = data.chunks(4).zip(0_u32..).all(|(chunk, number)| chunk == number.to_le_bytes());
    fact("it is what was written", right);
    fs::remove_file(&path)
}

fn directories(root: &Path) -> io::Result<()> {
    let top = root.join("top");
    fs::create_dir(&top)?;
    fact("make it again", told(fs::create_dir(&top)));
    fact("make one below nothing", told(fs::create_dir(top.join("none/x"))));
    fs::create_dir_all(top.join("a/b/c"))?;
    fs::write(top.join("a/file"), b"x")?;
    fs::write(top.join("\u{3b1}\u{3b2} name"), b"yz")?;
    fact("names", names(&top)?);
    fact("names below", names(&top.join("a"))?);
    fact("it is a directory", fs::metadata(top.join("a"))?.is_dir());
    fact("a file is none", fs::metadata(top.join("a/file"))?.is_dir());
    fact("a file and a slash", told(fs::metadata(top.join("a/file/"))));
    fact("remove what is not empty", told(fs::remove_dir(top.join("a"))));
    fact("unlink a directory", told(fs::remove_file(top.join("a"))));
    fact("read a directory as a file", told(fs::read(top.join("a"))));
    fs::rename(top.join("a"), top.join("moved"))?;
    fact("the old name", told(fs::metadata(top.join("a"))));
    fs::rename(top.join("moved/file"), top.join("file"))?;
    fact("rename over a directory", told(fs::rename(top.join("file"), top.join("moved"))));
    fact("names after the moves", names(&top)?);
    let many = top.join("many");
    fs::create_dir(&many)?;
    for number in 0..300 {
        fs::write(many.join(format!("a name of some length {number}")), b"")?;
    }
    fact("many names", names(&many)?.len());
    fs::remove_dir_all(&top)?;
    fact("all is gone", told(fs::metadata(&top)));
    Ok(())
}

#[allow(deprecated)] // the one call for links that std has for every target
fn links(root: &Path) -> io::Result<()> {
    let (file, link, other) = (root.join("file"), root.join("link"), root.join("other"));
    fs::write(&file, b"text")?;
    fs::soft_link("file", &link)?;
    fact("where it leads", fs::read_link(&link)?);
    fact("through it", fs::read_to_string(&link)?);
    fact("it is a link", fs::symlink_metadata(&link)?.file_type().is_symlink());
    fact("what it leads to is none", fs::metadata(&link)?.file_type().is_symlink());
    fact("read a file as a link", told(fs::read_link(&file)));
    fact("a second link", told(fs::soft_link("elsewhere", &link)));
    fs::hard_link(&file, &other)?;
    fs::write(&other, b"longer text")?;
    fact("by the first name", fs::read_to_string(&file)?);
    fs::remove_file(&file)?;
    fact("by the second name", fs::read_to_string(&other)?);
    fact("a link to nothing", told(File::open(&link)));
    fs::remove_file(&link)?;
    fs::remove_file(&other)
}

/// Ways out of the directory; a system has them.
#[allow(deprecated)]
fn ways_out(root: &Path) -> io::Result<()> {
    let (out, absolute) = (root.join("out"), root.join("absolute"));
    let place = if cfg!(target_os = "wasi") { "sandbox" } else { "system" };
    let say = |what: &str, got: String| println!("{place}: {what}: {got:?}");
    say("look above", told(fs::metadata(root.join(".."))));
    say("a link that leads out", told(fs::soft_link("..", &out)));
    say("through it", told(fs::metadata(&out)));
    say("a link to the host's root", told(fs::soft_link("/", &absolute)));
    fs::remove_file(&out)?;
    say("remove it", told(fs::remove_file(&absolute)));
    say("a thread", told(thread::Builder::new().spawn(|| ())));
    Ok(())
}

fn serve(number: i32) -> io::Result<()> {
    let listener = unsafe { TcpListener::from_raw_fd(number) };
    fact("listening", number);
    let (mut client, _) = listener.accept()?;
    let mut said = String::new();
    client.read_to_string(&mut said)?;
    fact("the client said", &said);
    client.write_all(said.to_uppercase().as_bytes())
}

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::args().nth(1).expect("a directory"));
    given();
    time();
    files(&root)?;
    large(&root)?;
    directories(&root)?;
    links(&root)?;
    ways_out(&root)?;
    fact("left in the directory", names(&root)?);
    let random: HashMap<u8, u8> = (0..200).map(|number| (number, number)).collect();
    fact("a table with a random key", random.len());
    if let Ok(number) = env::var("LISTENER") {
        serve(number.parse().expect("a number"))?;
    }
    eprintln!("on stderr");
    std::process::exit(7)
}
