// SPDX-License-Identifier: MIT
// Made by `make types` of the comments in client/: change them there.
/**
 * ringcast.js - a client of `ringcast app`, for browsers and for Node (18 and newer). It depends on nothing. In a Node
 * without a WebSocket of its own it takes npm's package `ws`.
 *
 *      const client = new Ringcast("wss://example.org/ws/alice", { storage: "chat" });
 *      client.on("room_message", message => show(message.from, message.content));
 *      await client.join("lobby");
 *      await client.say("lobby", "hello");              // resolves when the server has it
 *      client.subscribe("prices/*", (data, update) => draw(update.topic, data));
 *      const book = client.keyed("book/ACME");          // book.map is the state of the topic, right at every moment
 *      book.on("change", ({ key, value }) => show(key, value));
 *      const pool = new Ringcast.Pool({ url: "wss://example.org/ws", max: 5, min: 1 });
 *      const lent = await pool.acquire();               // a client that is connected, until pool.release(lent)
 *
 * In a classic script, `<script src="https://example.org/ringcast.min.js">`, it is the global `Ringcast`.
 *
 * What it promises, over any number of connections:
 *   - A message given to send() and its kin goes out as soon as the server can be reached. It goes again until the server
 *     acknowledges it, always with the same id.
 *   - What comes in is handed to its handlers once, and in order. Rooms and feeds go on from where they stopped.
 *   - A gap that nobody can fill is told as a message of type "gap".
 *   - The Map of a keyed feed is the topic's state behind one update: never half of it, and never with something missing.
 *
 * When no WebSocket gets through but HTTP does, feeds (and only they) come as server-sent events, or by long polling:
 *   GET /sse/TOPIC[,TOPIC...]   The data of each event is a message of the dialect (update, gap, subscribed). The id of
 *                               the last event comes back as Last-Event-ID.
 *   GET /poll/TOPIC[,TOPIC...]  The answer is {"messages":[...], "topics":[{"topic","seq","epoch"}...]}, or 204 where there
 *                               is no message.
 * Both take ?since=SEQ[,SEQ...]&epoch=EPOCH[,EPOCH...], in the order of the topics, empty where nothing is known yet.
 */
export type Message = {
    type: string;
    [member: string]: any;
};
export type State = "idle" | "connecting" | "open" | "waiting" | "failed" | "closed";
export type Transport = "websocket" | "sse" | "poll";
export type Link = {
    kind: Transport;
    send: (text: string) => void;
    close: (code?: number, reason?: string) => void;
};
export type Listener = {
    opened: () => void;
    heard: (message: Message) => void;
    ended: (code: number, reason: string) => void;
};
export type Wire = {
    /**
     * a WebSocket is open, so messages can be written
     */
    ready: boolean;
    /**
     * the one that is open
     */
    transport: Transport | null;
    /**
     * rises whenever connecting begins anew and whenever a connection is lost
     */
    generation: number;
    write: (message: Message) => void;
    /**
     * replaces an open link by a new one
     */
    restart: () => void;
};
export type Keeping = {
    length: number;
    key: (index: number) => string | null;
    getItem: (name: string) => string | null;
    setItem: (name: string, value: string) => void;
    removeItem: (name: string) => void;
};
export type Options = {
    /**
     * is sent as the second subprotocol, and again when it expires
     */
    token?: string | (() => string | Promise<string>);
    /**
     * the client acknowledges direct messages
     */
    reliable?: boolean;
    /**
     * ms before the first new try; doubles with each try
     */
    minDelay?: number;
    /**
     * ms
     */
    maxDelay?: number;
    /**
     * tries in a row; after them the state is "failed" until connect()
     */
    maxTries?: number;
    /**
     * ms
     */
    connectTimeout?: number;
    /**
     * ms between two pings
     */
    heartbeat?: number;
    /**
     * ms of silence after a ping; after them the connection counts as lost
     */
    heartbeatTimeout?: number;
    /**
     * ms until a message is sent again; doubles with each time
     */
    ackTimeout?: number;
    /**
     * how many times a message is sent again on one connection
     */
    resendMax?: number;
    /**
     * how many messages may be under way without an ACK
     */
    window?: number;
    /**
     * how many messages may wait, those under way included
     */
    queueMax?: number;
    /**
     * ms for the answer to join(), history() and the like
     */
    requestTimeout?: number;
    /**
     * how much the server may gather into one message
     */
    batch?: {
        count: number;
        delay: number;
    };
    /**
     * keeps the waiting messages in localStorage, under names with this prefix
     */
    storage?: string;
    /**
     * is used in place of localStorage
     */
    store?: Keeping;
    /**
     * in the order in which they are tried
     */
    transports?: Transport[];
    /**
     * failed tries of a WebSocket before the other transports are tried
     */
    fallbackAfter?: number;
    /**
     * ms between two tries to get back to a WebSocket
     */
    upgradeAfter?: number;
    /**
     * the path under which /sse and /poll are; by default beside /ws
     */
    http?: string;
    /**
     * the constructor to use
     */
    WebSocket?: any;
};
export type Settings = Options & typeof DEFAULTS;
/**
 * types.js - the types that several modules share. It holds no code and knows no module.
 *
 * @typedef {{type: string, [member: string]: any}} Message a message of the dialect
 * @typedef {"idle"|"connecting"|"open"|"waiting"|"failed"|"closed"} State
 * @typedef {"websocket"|"sse"|"poll"} Transport
 *
 * A link is one connection of one transport. It tells its listener what happens to it.
 * @typedef {{kind: Transport, send: (text: string) => void, close: (code?: number, reason?: string) => void}} Link
 * @typedef {{opened: () => void, heard: (message: Message) => void, ended: (code: number, reason: string) => void}}
 *   Listener
 *
 * The wire is what requests, rooms, feeds and the outbox see of the connection.
 * @typedef {object} Wire
 * @property {boolean} ready a WebSocket is open, so messages can be written
 * @property {Transport|null} transport the one that is open
 * @property {number} generation rises whenever connecting begins anew and whenever a connection is lost
 * @property {(message: Message) => void} write
 * @property {() => void} restart replaces an open link by a new one
 */
/**
 * options.js - what the constructor's second argument may hold, and what holds without it. It knows nobody who uses them.
 */
/**
 * @typedef {object} Keeping what localStorage can do, as far as it is used
 * @property {number} length
 * @property {(index: number) => string|null} key
 * @property {(name: string) => string|null} getItem
 * @property {(name: string, value: string) => void} setItem
 * @property {(name: string) => void} removeItem
 *
 * @typedef {object} Options
 * @property {string|(() => string|Promise<string>)} [token] is sent as the second subprotocol, and again when it expires
 * @property {boolean} [reliable] the client acknowledges direct messages
 * @property {number} [minDelay] ms before the first new try; doubles with each try
 * @property {number} [maxDelay] ms
 * @property {number} [maxTries] tries in a row; after them the state is "failed" until connect()
 * @property {number} [connectTimeout] ms
 * @property {number} [heartbeat] ms between two pings
 * @property {number} [heartbeatTimeout] ms of silence after a ping; after them the connection counts as lost
 * @property {number} [ackTimeout] ms until a message is sent again; doubles with each time
 * @property {number} [resendMax] how many times a message is sent again on one connection
 * @property {number} [window] how many messages may be under way without an ACK
 * @property {number} [queueMax] how many messages may wait, those under way included
 * @property {number} [requestTimeout] ms for the answer to join(), history() and the like
 * @property {{count: number, delay: number}} [batch] how much the server may gather into one message
 * @property {string} [storage] keeps the waiting messages in localStorage, under names with this prefix
 * @property {Keeping} [store] is used in place of localStorage
 * @property {Transport[]} [transports] in the order in which they are tried
 * @property {number} [fallbackAfter] failed tries of a WebSocket before the other transports are tried
 * @property {number} [upgradeAfter] ms between two tries to get back to a WebSocket
 * @property {string} [http] the path under which /sse and /poll are; by default beside /ws
 * @property {any} [WebSocket] the constructor to use
 *
 * @typedef {Options & typeof DEFAULTS} Settings
 */
declare const DEFAULTS: {
    reliable: boolean;
    minDelay: number;
    maxDelay: number;
    maxTries: number;
    connectTimeout: number;
    heartbeat: number;
    heartbeatTimeout: number;
    ackTimeout: number;
    resendMax: number;
    window: number;
    queueMax: number;
    requestTimeout: number;
    fallbackAfter: number;
    upgradeAfter: number;
    transports: Transport[];
};
export type Handler = (message: any) => void;
/** `code` is the server's, or one of OFFLINE, TIMEOUT, QUEUE_FULL, NOT_ACKNOWLEDGED, NOT_A_MEMBER, LEFT, NO_WEBSOCKET,
 *  FEEDS_ONLY, CLOSED. */
declare class RingcastError extends Error {
    code: string;
    /** @param {string} code @param {string} words */
    constructor(code: string, words: string);
}
export type UpdateHandler = (data: any, update: Message) => void;
export type Subscription = {
    name: string;
    last: boolean;
    conflate: boolean;
    handlers: Set<UpdateHandler>;
};
export type Position = {
    epoch: number | undefined;
    seq: number;
    heard: boolean;
};
export type FeedsOwner = {
    request: (message: Message) => Promise<Message>;
    emit: (message: Message) => void;
};
export type MarkKind = "state" | "resync" | "conflated" | "heartbeat" | "reset";
export type Verdict = "take" | "forget" | "old" | "gap";
export type KeyedUpdate = {
    epoch: number;
    seq: number;
    prev: number;
    key?: string;
    removed?: boolean;
    snapshot?: boolean;
    data?: any;
};
declare class Keyed {
    #private;
    topic: string;
    /** The state. It is the same Map from the beginning to the end; only this class may change it. @type {Map<string, any>} */
    map: Map<string, any>;
    /** How often it began anew after it had begun: the reader was overrun, or the server was another. */
    resyncs: number;
    /** When something came, in ms of Date.now(), or 0. */
    heardAt: number;
    /** @param {string} topic @param {{base?: (data: any) => Iterable<[string, any]>, holes?: boolean}} [how] `base` tells which
     *  keys the data of a snapshot has; without it the members of an object. With `holes` the server leaves updates out
     *  without saying so, and they are not missed */
    constructor(topic: string, how?: {
        base?: (data: any) => Iterable<[string, any]>;
        holes?: boolean;
    });
    /** Whether the Map is all that there is: false before the first state, and while something that was lost is awaited. */
    get whole(): boolean;
    /** How often something was really lost. It is told as "gap" too. */
    get gaps(): number;
    /** How many updates were lost at least. */
    get missing(): number;
    get epoch(): number | undefined;
    /** The number of the newest update that is known. */
    get seq(): number;
    /** From where another connection goes on; null: with the state. */
    get position(): {
        since: number;
        epoch: number;
    } | null;
    /**
     * "change" has `key`, `value` and `removed`, once the Map has it; after several at once, when the Map has all of them.
     * "resync" says that the Map began anew, with `kind` ("state" or "resync"), `epoch` and `seq`; its changes follow.
     * "message" has an `update` without a key. "gap" says that something was lost, with `gaps` and `missing` so far.
     * @param {string} type @param {Handler} handler @returns {() => void} takes it away again
     */
    on(type: string, handler: Handler): () => void;
    /** @param {MarkKind} kind @param {number} epoch @param {number} seq */
    mark(kind: MarkKind, epoch: number, seq: number): boolean;
    /** @param {KeyedUpdate} update */
    update(update: KeyedUpdate): boolean;
    /** A state whose last updates have no place in it, as removals have none, ends without a word: time ends it.
     *  @param {number} now */
    tick(now: number): void;
}
export type KeyedEntry = {
    keyed: Keyed;
    rate: number | undefined;
};
export type KeyedHow = {
    rate?: number;
    base?: (data: any) => Iterable<[string, any]>;
};
export type PoolOptions = {
    /**
     * at most so many connections. The server counts them for their user and address
     */
    max?: number;
    /**
     * so many are kept, lent or not
     */
    min?: number;
    /**
     * ms that acquire() waits, if it does not say
     */
    acquireTimeout?: number;
    /**
     * ms after which one that nobody borrows is closed, where there are more than `min`
     */
    idleTimeout?: number;
};
export type PoolHealth = {
    total: number;
    open: number;
    idle: number;
    busy: number;
    waiting: number;
    replaced: number;
    max: number;
    min: number;
    healthy: boolean;
};
/** @template {{state: string, on: Function, close: Function, reset: Function}} Client */
declare class PoolOf<Client extends {
    state: string;
    on: Function;
    close: Function;
    reset: Function;
}> {
    #private;
    /** @param {PoolOptions} options @param {() => Client} make */
    constructor(options: PoolOptions, make: () => Client);
    /** Borrows a client that is connected. It waits while all are out; first come, first served. @param {number} [timeout] ms
     *  @returns {Promise<Client>} */
    acquire(timeout?: number): Promise<Client>;
    /** Gives a client back. It loses its rooms, feeds and handlers. @param {Client} client
     *  @returns {boolean} false: it was not lent */
    release(client: Client): boolean;
    /** @returns {PoolHealth} */
    health(): PoolHealth;
    /** Closes all clients, those that are lent too. */
    close(): void;
}
export type Ending = {
    code: number;
    reason: string;
};
export type Owner = {
    dial: (kind: Transport, listener: Listener) => Promise<Link>;
    /**
     * only feeds come over other transports than a WebSocket
     */
    hasFeeds: () => boolean;
    welcomed: (message: Message) => void;
    opened: () => void;
    heard: (message: Message) => void;
    /**
     * several times a second, while a WebSocket is open
     */
    ticked: (now: number) => void;
    dropped: () => void;
    /**
     * with each state
     */
    changed: (event: Message) => void;
    /**
     * whether the server knows who we are
     */
    known: () => boolean;
    /**
     * for good
     */
    refused: (why: Ending) => void;
};
export type Entry = {
    id: string;
    data: any;
    tries: number;
    due: number;
    sent: boolean;
    resolve: () => void;
    reject: (error: RingcastError) => void;
};
export type Room = {
    name: string;
    ready: boolean;
    entered: boolean;
    last: string | undefined;
    held: Message[];
    joined: Promise<void>;
    resolve: () => void;
    reject: (error: RingcastError) => void;
};
export type RoomsOwner = {
    request: (message: Message) => Promise<Message>;
    isNew: (message: Message) => boolean;
    emit: (message: Message) => void;
    entered: () => void;
    left: (name: string, error: RingcastError) => void;
};
/**
 * A bounded number of clients of one server, each lent to one borrower at a time. Those that break are replaced.
 * @extends {PoolOf<Ringcast>}
 */
export declare class Pool extends PoolOf<Ringcast> {
    /** @param {PoolOptions & {url?: string|URL, options?: Options}} options `url` of the WebSocket: in a page, without it, /ws
     *  there; `options` of each client */
    constructor({ url, options, ...more }: PoolOptions & {
        url?: string | URL;
        options?: Options;
    });
}
/** The client: it ties the parts together, and gives each message that comes to the part that it concerns. */
export declare class Ringcast {
    #private;
    /** @param {string|URL} address of the WebSocket: wss://HOST/ws/USER @param {Options} [options] */
    constructor(address: string | URL, options?: Options);
    /** So that a classic script, which has one name, has all of them. */
    static get Pool(): typeof Pool;
    static get RingcastError(): typeof RingcastError;
    /** @returns {State} */
    get state(): State;
    /** What is in use while the state is "open". @returns {Transport|null} */
    get transport(): Transport | null;
    /** Who we are, as the server sees it. */
    get userId(): string;
    /** How many messages are not yet acknowledged. */
    get queued(): number;
    /**
     * Handles the messages of a type; "*" stands for all types. Four types are made here: "state" (on each change, with
     * `state`, `transport`, `tries`, `delay`, `code`, `reason`), "latency" (`ms` to the server and back), some of "gap", and
     * "refused" (`code`, `reason`): the server will not have us, and the state is "failed" until connect(). Its code is 3401
     * (the token), 3403 (the origin, the name, a right) or 1008; join() is rejected then, with REFUSED and the words.
     * @param {string} type @param {Handler} handler @returns {() => void} takes it away again
     */
    on(type: string, handler: Handler): () => void;
    /** @param {string} type @param {Handler} [handler] without it, all of the type */
    off(type: string, handler?: Handler): void;
    /** Handles the next message of a type, and none after it. @param {string} type @param {Handler} handler
     *  @returns {() => void} takes it away again */
    once(type: string, handler: Handler): () => void;
    /** As on(). @param {string} type @param {Handler} handler */
    registerHandler(type: string, handler: Handler): () => void;
    /** As on(). @param {string} type @param {Handler} handler */
    addEventListener(type: string, handler: Handler): void;
    /** As off(). @param {string} type @param {Handler} handler */
    removeEventListener(type: string, handler: Handler): void;
    /** There is a connection. @param {Handler} handler */
    onOpen(handler: Handler): () => void;
    /** There is none any more: `code`, `reason`. @param {Handler} handler */
    onClose(handler: Handler): () => void;
    /** Whatever the server says, parsed. @param {Handler} handler */
    onMessage(handler: Handler): () => void;
    /** What the server refused, with its `code` and `message`; or that no try to connect comes any more. @param {Handler} handler */
    onError(handler: Handler): () => void;
    /** The next try comes in `delay` ms; it is number `attempt`. @param {Handler} handler */
    onReconnecting(handler: Handler): () => void;
    /** Whether messages can go out now. */
    get isConnected(): boolean;
    /** As join(). @param {string} room */
    joinRoom(room: string): Promise<void>;
    /** As leave(). @param {string} room */
    leaveRoom(room: string): void;
    /** As say(). @param {string} room @param {any} content */
    sendToRoom(room: string, content: any): Promise<void>;
    /** As close(). */
    disconnect(): void;
    /** Tries now. The constructor calls it. Call it after "failed" or "closed", or to shorten a wait. */
    connect(): void;
    /** Ends for good, or until connect(). Messages that are not yet acknowledged are kept. */
    close(code?: number, reason?: string): void;
    /** As if it were new, but connected: leaves all rooms, gives up all feeds, and forgets all handlers. */
    reset(): void;
    /** Sends now, and resolves with the answer that has its id. It is not queued. @param {Message} message
     *  @returns {Promise<Message>} */
    request(message: Message): Promise<Message>;
    /**
     * Sends for sure: the message waits while there is no connection, and goes again until it is acknowledged. Resolves with
     * the ACK.
     * @param {any} data a message of the dialect, or anything else, for the application behind the server
     * @returns {Promise<void>}
     */
    send(data: any): Promise<void>;
    /** Sends now, once, or not at all: for what is old in a moment, as a cursor, or that somebody types. @param {Message} message
     *  @returns {boolean} whether it went out */
    sendNow(message: Message): boolean;
    /** Enters a room, now and after each new connection. @param {string} name @returns {Promise<void>} */
    join(name: string): Promise<void>;
    /** @param {string} name */
    leave(name: string): void;
    /** Speaks to the others in a room that was joined. @param {string} room @param {any} content */
    say(room: string, content: any): Promise<void>;
    /** Sends to all devices of a user; the message waits where there is none. @param {string} to @param {any} content */
    direct(to: string, content: any): Promise<void>;
    /** Sends to everybody, where that is permitted. @param {any} content */
    broadcast(content: any): Promise<void>;
    /** @param {string} room @returns {Promise<Message>} with `members` and `count` */
    members(room: string): Promise<Message>;
    /** @param {{room?: string, topic?: string, since?: number|string, limit?: number}} what
     *  @returns {Promise<Message>} with `messages` */
    history(what: {
        room?: string;
        topic?: string;
        since?: number | string;
        limit?: number;
    }): Promise<Message>;
    /**
     * Follows feeds, now and after each new connection; a trailing * makes a pattern.
     * @param {string|string[]} topics @param {UpdateHandler} [handler] for these alone
     * @param {{since?: number, epoch?: number, last?: boolean, conflate?: boolean}} [how]
     * @returns {() => void} gives up again
     */
    subscribe(topics: string | string[], handler?: UpdateHandler, how?: {
        since?: number;
        epoch?: number;
        last?: boolean;
        conflate?: boolean;
    }): () => void;
    /**
     * Follows a topic whose updates have keys, now and after each new connection: what it returns has the newest data of each
     * key as `map`, "change" and "resync" to handle, and `gaps`, which counts what was really lost. It needs a WebSocket. A
     * topic is followed so, or by subscribe(), and not both.
     * @param {string} topic @param {KeyedHow} [how] @returns {Keyed}
     */
    keyed(topic: string, how?: KeyedHow): Keyed;
    /** Takes the handler away. Without a handler, or with the last one, the topic is given up, and a keyed one always.
     *  @param {string|string[]} topics @param {UpdateHandler} [handler] */
    unsubscribe(topics: string | string[], handler?: UpdateHandler): void;
}
export { Keyed, RingcastError };
export default Ringcast;
