//! Who decides, who signed what, and what follows from it: governance, certificates, evidence, replays.

mod arbitrators;
mod certificates;
mod evidence;
mod governance;
mod replays;
mod support;
