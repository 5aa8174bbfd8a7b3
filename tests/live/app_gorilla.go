// SPDX-License-Identifier: MIT
//
// app_gorilla.go URL: gorilla's client, from Debian, in conversation with `ringcast app`.
package main

import (
	"fmt"
	"os"

	"github.com/gorilla/websocket"
)

type message map[string]interface{}

func must(err error) {
	if err != nil {
		fmt.Println("FAIL gorilla:", err)
		os.Exit(1)
	}
}

func expect(ws *websocket.Conn, kind string) message {
	var heard message
	must(ws.ReadJSON(&heard))
	if heard["type"] != kind {
		must(fmt.Errorf("%v, not %s", heard, kind))
	}
	return heard
}

func main() {
	dialer := websocket.Dialer{Subprotocols: []string{"ringcast.json"}}
	var ends [2]*websocket.Conn
	for i, user := range []string{"a", "b"} {
		ws, _, err := dialer.Dial(os.Args[1]+"/ws/"+user, nil)
		must(err)
		expect(ws, "welcome")
		must(ws.WriteJSON(message{"type": "join_room", "room": "r"}))
		expect(ws, "room_joined")
		ends[i] = ws
	}
	expect(ends[0], "user_joined")
	for n := 0; n < 200; n++ {
		must(ends[0].WriteJSON(message{"type": "room_message", "room": "r", "content": n}))
	}
	for n := 0; n < 200; n++ {
		if heard := expect(ends[1], "room_message"); heard["content"] != float64(n) {
			must(fmt.Errorf("%v, not %d", heard, n))
		}
	}
	must(ends[0].WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "")))
	_, _, err := ends[0].ReadMessage()
	if !websocket.IsCloseError(err, 1000) {
		must(fmt.Errorf("the end: %v", err))
	}
	fmt.Println("ok gorilla")
}
