// SPDX-License-Identifier: MIT
import type { Ringcast } from "./ringcast.js";

/** Its children use this client. */
export function RingcastProvider(properties: { client: Ringcast, children?: any }): any;
export function useRingcast(): Ringcast;
/** The state of the connection. */
export function useConnection(): string;
/** The newest data of a topic; `first` until there is some. */
export function useTopic<T = any>(topic: string, first?: T): T;
/** A room while the component is shown; the newest `max` messages, own ones included. */
export function useRoom(room: string, options?: { max?: number }):
	{ messages: any[], joined: boolean, error: Error | null, say: (content: any) => Promise<void> };
