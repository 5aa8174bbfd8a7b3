// SPDX-License-Identifier: MIT
//
// Jetty: /relay/NAME, /topic/NAME[,NAME...], /publish/NAME and /echo. What is sent is queued and leaves in Jetty's own time.
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.util.log.Log;
import org.eclipse.jetty.util.log.StdErrLog;
import org.eclipse.jetty.websocket.api.Session;
import org.eclipse.jetty.websocket.api.WebSocketAdapter;
import org.eclipse.jetty.websocket.server.WebSocketHandler;
import org.eclipse.jetty.websocket.servlet.WebSocketServletFactory;

public class Jetty {
	static final ConcurrentHashMap<String, Set<Serve>> topics = new ConcurrentHashMap<>();

	static Set<Serve> membersOf(String name) {
		return topics.computeIfAbsent(name, made -> ConcurrentHashMap.newKeySet());
	}

	public static class Serve extends WebSocketAdapter {
		final String[] words;
		final boolean listens, publishes;

		Serve(String path) {
			words = path.split("/");
			listens = words[1].equals("topic") || words[1].equals("relay");
			publishes = words[1].equals("publish") || words[1].equals("relay");
		}

		@Override
		public void onWebSocketConnect(Session session) {
			super.onWebSocketConnect(session);
			if (listens)
				for (String name : words[2].split(","))
					membersOf(name).add(this);
		}

		@Override
		public void onWebSocketText(String message) {
			if (publishes)
				for (Serve member : membersOf(words[2]))
					member.say(message);
			else if (!listens)
				say(message);
		}

		@Override
		public void onWebSocketClose(int code, String reason) {
			super.onWebSocketClose(code, reason);
			if (listens)
				for (String name : words[2].split(","))
					membersOf(name).remove(this);
		}

		void say(String message) {
			if (isConnected())
				getRemote().sendString(message, null);
		}
	}

	public static void main(String[] arguments) throws Exception {
		StdErrLog quiet = new StdErrLog();
		quiet.setLevel(StdErrLog.LEVEL_OFF);
		Log.setLog(quiet);
		Server server = new Server();
		ServerConnector connector = new ServerConnector(server, 1, 1);
		connector.setHost("127.0.0.1");
		connector.setPort(Integer.parseInt(arguments[0]));
		connector.setAcceptQueueSize(4096);
		server.addConnector(connector);
		server.setHandler(new WebSocketHandler() {
			@Override
			public void configure(WebSocketServletFactory factory) {
				factory.getPolicy().setMaxTextMessageSize(16 << 20);
				factory.getPolicy().setIdleTimeout(3600000);
				factory.getExtensionFactory().unregister("permessage-deflate");
				factory.setCreator((request, response) -> new Serve(request.getRequestURI().getPath()));
			}
		});
		server.start();
		server.join();
	}
}
