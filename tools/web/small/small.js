// SPDX-License-Identifier: MIT
/** ringcast.min - the client of `ringcast app`, small, for browsers: all of ringcast.js but keyed(). */
import { Pool, Ringcast } from "./ringcast.js";
import { RingcastError } from "./values.js";

export { Pool, Ringcast, RingcastError };
export default Ringcast;
