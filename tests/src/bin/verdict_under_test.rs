//! The `verdict` program, as the whole-process tests start it.

fn main() -> std::process::ExitCode {
    verdict_node::main()
}
