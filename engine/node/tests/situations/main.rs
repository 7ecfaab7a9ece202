//! Real nodes in processes of their own, real clients, real files: what must hold when things go wrong.

mod support;

mod a_node_serves;
