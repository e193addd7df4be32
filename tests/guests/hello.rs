//! Says hello on standard output and on standard error, with its arguments.

fn main() {
    println!("hello from rust");
    for argument in std::env::args().skip(1) {
        println!("arg {argument}");
    }
    eprintln!("hello on stderr");
}
