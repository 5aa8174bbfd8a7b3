// SPDX-License-Identifier: MIT
// The small file has the same classes; its keyed() throws.
export { Pool, Ringcast, RingcastError, default } from "./ringcast.js";
