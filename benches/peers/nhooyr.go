// SPDX-License-Identifier: MIT
//
// nhooyr.io/websocket: /relay/NAME, /topic/NAME[,NAME...], /publish/NAME and /echo.
// The library has no prepared messages, so each connection frames its own.
package main

import (
	"context"
	"net/http"
	"os"
	"strings"
	"sync"

	"nhooyr.io/websocket"
)

type message struct {
	kind websocket.MessageType
	data []byte
}

var (
	lock   sync.RWMutex
	topics = map[string]map[chan message]bool{}
)

func echo(conn *websocket.Conn) {
	for {
		kind, data, err := conn.Read(context.Background())
		if err != nil || conn.Write(context.Background(), kind, data) != nil {
			return
		}
	}
}

// Subscribes to some topics, and publishes what comes to one, unless that is "".
func relay(conn *websocket.Conn, subscribed []string, topic string) {
	self := make(chan message, 4096)
	lock.Lock()
	for _, name := range subscribed {
		if topics[name] == nil {
			topics[name] = map[chan message]bool{}
		}
		topics[name][self] = true
	}
	lock.Unlock()
	go func() {
		for next := range self {
			conn.Write(context.Background(), next.kind, next.data)
		}
	}()
	for {
		kind, data, err := conn.Read(context.Background())
		if err != nil {
			break
		}
		lock.RLock()
		for other := range topics[topic] {
			other <- message{kind, data}
		}
		lock.RUnlock()
	}
	lock.Lock()
	for _, name := range subscribed {
		delete(topics[name], self)
	}
	lock.Unlock()
	close(self)
}

func serve(writer http.ResponseWriter, request *http.Request) {
	mode := websocket.CompressionDisabled
	if os.Getenv("PEER_DEFLATE") == "1" {
		mode = websocket.CompressionNoContextTakeover
	}
	conn, err := websocket.Accept(writer, request, &websocket.AcceptOptions{CompressionMode: mode})
	if err != nil {
		return
	}
	defer conn.Close(websocket.StatusInternalError, "")
	conn.SetReadLimit(16 << 20)
	switch words := strings.Split(request.URL.Path, "/"); words[1] {
	case "echo":
		echo(conn)
	case "topic":
		relay(conn, strings.Split(words[2], ","), "")
	case "publish":
		relay(conn, nil, words[2])
	case "relay":
		relay(conn, words[2:3], words[2])
	}
}

func main() {
	address := "127.0.0.1:" + os.Args[1]
	http.HandleFunc("/", serve)
	var err error
	if cert := os.Getenv("PEER_CERT"); cert != "" {
		err = http.ListenAndServeTLS(address, cert, os.Getenv("PEER_KEY"), nil)
	} else {
		err = http.ListenAndServe(address, nil)
	}
	panic(err)
}
