//! Every program against its table, by an interpreter of the instructions that are used.

use super::*;
use crate::seccomp::{Allowed, table};

/// Verdicts: flags of the kernel.
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
/// Most instructions for a call: the kernel runs each program for about a thousand numbers.
const MAX_STEPS: usize = 20;
const ALL: [Allowed; 5] = [
    Allowed::Streams,
    Allowed::StreamsAndFiles,
    Allowed::Listeners,
    Allowed::Threads,
    Allowed::Parent,
];

/// Runs a program; returns its verdict.
fn run(program: &[sock_filter], machine: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = [number.to_ne_bytes(), machine.to_ne_bytes(), [0; 4], [0; 4]].concat();
    data.extend(arguments.iter().flat_map(|it| it.to_ne_bytes()));
    let (mut loaded, mut next) = (0, 0);
    for _ in 0..MAX_STEPS {
        let sock_filter { code, jt, jf, k } = program[next];
        let jump = |is_true: bool| next + 1 + usize::from(if is_true { jt } else { jf });
        next = match u32::from(code) {
            code if code == BPF_LD | BPF_W | BPF_ABS => {
                let at = k as usize;
                loaded = u32::from_ne_bytes(data[at..at + 4].try_into().unwrap());
                next + 1
            }
            code if code == BPF_JMP | BPF_JEQ | BPF_K => jump(loaded == k),
            code if code == BPF_JMP | BPF_JGE | BPF_K => jump(loaded >= k),
            code if code == BPF_JMP | BPF_JSET | BPF_K => jump(loaded & k != 0),
            code if code == BPF_RET | BPF_K => return k,
            code => panic!("{code:#x}"),
        };
    }
    panic!("call {number} takes more than {MAX_STEPS} instructions");
}

/// What the table says of a call.
fn verdict(rule: Option<&Rule>, arguments: [u64; 6]) -> u32 {
    let low = |argument: u32| arguments[argument as usize] as u32;
    let is_allowed = match *rule.unwrap_or(&Rule::OneOf { argument: 0, values: &[] }) {
        Rule::Allow => true,
        Rule::Unknown => return UNKNOWN,
        Rule::Without { argument, bit } => low(argument) & bit == 0,
        Rule::With { argument, bit } => low(argument) & bit != 0,
        Rule::OneOf { argument, values } => values.contains(&low(argument)),
    };
    if is_allowed { ALLOW } else { REFUSE }
}

#[test]
fn for_every_call_the_program_says_what_the_table_says() {
    let machine = 0xc000_003e;
    for allowed in ALL {
        let table = table(allowed).unwrap();
        let program = assemble(machine, &table).unwrap();
        // Those of x32 as well, a second table of calls on the same machine.
        for number in (0..512).chain(0x4000_0000..0x4000_0200).chain([u32::MAX]) {
            let by_argument = !matches!(table.get(&number), None | Some(Rule::Allow));
            let values = 0..if by_argument { 1100 } else { 8 };
            for value in values.chain([1 << 16, 1 << 32, !0]) {
                for arguments in [[value; 6], [0, value, value, 0, 0, 0], [value, 0, 0, 0, 0, 0]] {
                    let wanted = verdict(table.get(&number), arguments);
                    let said = run(&program, machine, number, arguments);
                    assert_eq!(said, wanted, "{allowed:?}: call {number}, {arguments:?}");
                }
            }
        }
    }
}

#[test]
fn a_call_of_another_machine_ends_the_process() {
    let program = assemble(0xc000_003e, &table(Allowed::Threads).unwrap()).unwrap();
    for number in 0..512 {
        let said = run(&program, 0x4000_0003, number, [0; 6]); // int 0x80 of i386
        assert_eq!(said, libc::SECCOMP_RET_KILL_PROCESS);
    }
}

#[test]
fn a_table_that_is_too_large_is_refused() {
    let all_odd: Table = (0..400).map(|number| (2 * number, Rule::Allow)).collect();
    assert_eq!(assemble(1, &all_odd).unwrap_err(), Errno::EINVAL);
}
