// SPDX-License-Identifier: MIT
//
// gorilla/websocket: /relay/NAME, /topic/NAME[,NAME...], /publish/NAME and /echo.
// A broadcast is prepared once; each connection has a goroutine that reads and one that writes, as the library's own
// chat example recommends.
package main

import (
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
)

type member struct {
	conn *websocket.Conn
	out  chan *websocket.PreparedMessage
}

var (
	lock     sync.RWMutex
	topics   = map[string]map[*member]bool{}
	upgrader = websocket.Upgrader{
		CheckOrigin:       func(*http.Request) bool { return true },
		EnableCompression: os.Getenv("PEER_DEFLATE") == "1",
	}
)

func echo(conn *websocket.Conn) {
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil || conn.WriteMessage(kind, message) != nil {
			return
		}
	}
}

// Subscribes to some topics, and publishes what comes to one, unless that is "".
func relay(conn *websocket.Conn, subscribed []string, topic string) {
	self := &member{conn, make(chan *websocket.PreparedMessage, 4096)}
	lock.Lock()
	for _, name := range subscribed {
		if topics[name] == nil {
			topics[name] = map[*member]bool{}
		}
		topics[name][self] = true
	}
	lock.Unlock()
	go func() {
		for message := range self.out {
			if conn.WritePreparedMessage(message) != nil {
				conn.Close()
			}
		}
	}()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			break
		}
		prepared, _ := websocket.NewPreparedMessage(kind, message)
		lock.RLock()
		for other := range topics[topic] {
			other.out <- prepared
		}
		lock.RUnlock()
	}
	lock.Lock()
	for _, name := range subscribed {
		delete(topics[name], self)
	}
	lock.Unlock()
	close(self.out)
}

func serve(writer http.ResponseWriter, request *http.Request) {
	conn, err := upgrader.Upgrade(writer, request, nil)
	if err != nil {
		return
	}
	defer conn.Close()
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
