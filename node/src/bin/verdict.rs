//! The `verdict` program.

fn main() -> std::process::ExitCode {
    verdict_node::main()
}
