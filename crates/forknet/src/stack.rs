//! Where on the stack a loop runs that forks.
//!
//! After a fork each page of the stack that parent or child writes to is copied first. How many
//! pages the frames of the loop lie on is chance, for the kernel begins a stack anywhere; so the loop
//! begins at the top of a page, and takes as few as it can.

use std::hint::black_box;

const PAGE: usize = 4096;

/// Calls `what` where its frame begins not far below the top of a page.
pub(crate) fn at_the_top_of_a_page<T>(what: impl FnOnce() -> T) -> Option<T> {
    let (mut what, mut answer) = (Some(what), None);
    let page = black_box(&raw const answer).addr() / PAGE;
    descend(&mut || answer = what.take().map(|what| what()), page);
    answer
}

/// Takes frame after frame until one begins on another page than this.
#[inline(never)]
fn descend(what: &mut dyn FnMut(), page: usize) {
    let frame = [0_u8; 16];
    if black_box(&frame).as_ptr().addr() / PAGE == page {
        descend(what, page);
    } else {
        what();
    }
    black_box(&frame); // else the call before would be a jump
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_begins_near_the_top_of_a_page_wherever_the_caller_is() {
        fn deeper(by: usize, tops: &mut Vec<usize>) {
            let frame = [0_u8; 100];
            black_box(&frame);
            let here = || {
                let local = 0_u8;
                black_box(&raw const local).addr() % PAGE
            };
            tops.push(at_the_top_of_a_page(here).unwrap());
            if by > 0 {
                deeper(by - 1, tops);
            }
            black_box(&frame);
        }
        let mut tops = Vec::new();
        deeper(100, &mut tops);
        assert!(tops.iter().all(|top| *top > PAGE - 1024), "{tops:?}");
    }
}
