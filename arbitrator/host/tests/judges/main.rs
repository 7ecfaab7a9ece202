//! The judges under test: what ships is what the sources say, guest and native agree, nothing leaks, nobody escapes.

mod contract;
mod fuzz;
mod general;
mod guest_text;
mod hostile;
mod oracle;
mod prebuilt;
mod sealing;
mod vectors;
