//! The labs' tasks in Rust. Every starter and every solution is a program of this package, in the folder
//! of its lab; docs/labs/README.md tells how they are judged.
