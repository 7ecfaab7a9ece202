//! Seeds that once found something, each with its story.
//!
//! Invariant: a seed stays here for ever; when a change of the scenarios gives it another history it is still one that must
//! hold.

use io_oi_sim::{Options, run};

/// Seed and story.
const STORIES: &[(u64, &str)] = &[
    (
        1,
        "a leader alone asked to be woken at a time that was over, again and again, while a flush was under way",
    ),
    (
        16,
        "an appointment handed in while there was a leader was no authority to stand once the leader was gone",
    ),
    (
        23,
        "a follower that put a certificate together committed before its leader had shown the value under its lease",
    ),
    (
        54,
        "a voter that had claimed a higher epoch and lost was locked out of a healthy leader's epoch for ever",
    ),
    (247, "an appointment with a number that an undecided change had used up was refused without end"),
    (407, "a node alone refused a governance record and did not hand out the answer: it took nothing more"),
    (1076, "as 407, with clients that wait for certificates"),
    (1153, "as 407, after several epochs"),
    (
        3203,
        "after a boot, a block of a later epoch counted as a promise to an earlier candidate: a late ballot got a grant",
    ),
    (4727, "as 3203, with other members"),
    (6898, "as 3203, right after the first elections"),
    (
        7395,
        "the checker: a repaired node is bound by what it acknowledged before, so a commit that counts it stands",
    ),
    (
        490,
        "a leader whose clock was ahead could be replaced by nobody, since its log was the newest, and was followed by nobody",
    ),
    (3134, "as 490, under strict control"),
    (8281, "a follower whose clock was an hour behind refused every leader for ever"),
    (
        1151,
        "a node whose log was repaired led, took itself for unrepaired and never voted for its own blocks",
    ),
    (7045, "as 1151: it could not take a higher epoch either, which a voter's promise asked for"),
    (9796, "a proposal behind a declined one was never settled: whoever sent it again waited for ever"),
    (1558, "evidence against a liar was lost between two members by a crash, and nobody was told again"),
    (2357, "as 1558, with power cuts of all nodes"),
    (
        910_090,
        "the checker: a liar's seal over a block that its hearer refused could be compared with nothing there",
    ),
    (
        1_401_754,
        "the checker: a node founded alone lost the decisions that made it one of three, and could ask nobody",
    ),
    (
        1_411_853,
        "a voter that repaired its log did not offer the block that the appointed node lacked, and nobody else's was enough",
    ),
    (8264, "the checker: a lie that was lost with everybody who had heard it convicts nobody"),
    (
        6347,
        "a log rolled back behind its promise file read on from others, and at the next start nothing told any more",
    ),
];

/// Seeds of clusters that three nodes found, each with its story.
const STORIES_OF_THREE: &[(u64, &str)] = &[
    (
        32473,
        "a leader of three epochs that committed nothing had no memory for the block that would have committed all",
    ),
    (42013, "as 32473, under strict control"),
    (43009, "a lost vote was not given again, since its voter had the certificate that the leader lacked"),
    (
        42562,
        "a node silenced for its rolled-back disk refused its own lost blocks, and knew nothing new for ever",
    ),
    (
        32388,
        "an undecided appointment of another kept a leader from standing, and its newer log kept the other",
    ),
    (
        50050,
        "an appointed leader lost its last block in a power cut, and its own followers denied it for that",
    ),
    (
        141_166,
        "the appointed node stood by an appointment that a voter's log lacked, and its ballot did not show it",
    ),
    (
        1_710_351,
        "the operator: a disk was rolled back while a removal was under way, and too few were left that could speak",
    ),
    (
        1_331_340,
        "the checker: what a liar's early seal said to a node that followed nobody yet was kept by nobody",
    ),
    (
        900_491,
        "the checker: of a hundred seals that came before their blocks a node keeps the newest few, and compares no others",
    ),
    (
        203_654,
        "a repaired voter had everything that was committed and no leader to say so, and only it could elect one",
    ),
    (207_512, "as 203654: the leader had removed itself"),
    (
        1_321_697,
        "as 203654, and nothing was committed in a later epoch: such a voter is not removed any more",
    ),
    (632_344, "as 203654, under strict control"),
    (
        1121,
        "two of three logs had been repaired once; after a power cut both waited for a leader again, for ever",
    ),
    (1288, "as 1121"),
    (
        208_435,
        "with a liar barred, the only other voter's offer of the block that the appointed node lacked was one too few",
    ),
    (202_425, "as 6347: a node that had lost its grant of an epoch voted again two starts later"),
    (207_626, "as 6347, with the whole log rolled back"),
    (31767, "the appointed node had promised more than its leader's epoch, and no hand-over reached it"),
    (
        33852,
        "the checker: a log proved a commit that nobody had told of, and it was shown before it was decided",
    ),
    (
        2_102_013,
        "the only voter that was left, when two leaders in turn were removed, had nobody to ask and never stood",
    ),
];

/// Seeds whose clients think long.
const STORIES_OF_IDLE: &[(u64, Option<usize>, &str)] = &[
    (
        860_125,
        None,
        "the checker: a lone client's answer in the calm told of an older decision, and it asked for nothing more",
    ),
    (1_621_126, None, "as 860125: the answer was that its session is open"),
    (
        872_139,
        Some(3),
        "the checker: a liar's seal that came when its block was decided and forgotten could be compared with nothing",
    ),
];

/// Seeds of clusters that five nodes found.
const STORIES_OF_FIVE: &[(u64, &str)] = &[(
    1_200_509,
    "an old header of a block that was given up, by the node that led again, went round among the others for ever",
)];

#[test]
fn what_was_found_once_is_not_found_again() {
    let any = STORIES.iter().map(|story| (story, None, false));
    let three = STORIES_OF_THREE.iter().map(|story| (story, Some(3), false));
    let five = STORIES_OF_FIVE.iter().map(|story| (story, Some(5), false));
    let any =
        any.chain(three).chain(five).map(|((seed, story), nodes, is_idle)| (*seed, *story, nodes, is_idle));
    let idle = STORIES_OF_IDLE.iter().map(|(seed, nodes, story)| (*seed, *story, *nodes, true));
    for (seed, story, nodes, is_idle) in any.chain(idle) {
        let outcome = run(&Options { seed, nodes, is_idle, ..Options::default() });
        if let Some(violation) = outcome.violation {
            let nodes = nodes.map_or(String::new(), |nodes| format!(" --nodes {nodes}"));
            let idle = if is_idle { " --idle" } else { "" };
            panic!("seed {seed} ({story}): {violation}\nreplay it: cargo xtask sim {seed}{nodes}{idle}");
        }
    }
}
