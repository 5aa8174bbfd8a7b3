// SPDX-License-Identifier: MIT
//
// Netty on NIO: /relay/NAME, /topic/NAME[,NAME...], /publish/NAME and /echo.
// A broadcast retains one frame for all, and each channel is flushed when a read is complete.
import io.netty.bootstrap.ServerBootstrap;
import io.netty.channel.*;
import io.netty.channel.group.*;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http.*;
import io.netty.handler.codec.http.websocketx.*;
import io.netty.util.concurrent.GlobalEventExecutor;
import java.util.concurrent.ConcurrentHashMap;

public class Netty {
	static final ConcurrentHashMap<String, ChannelGroup> topics = new ConcurrentHashMap<>();

	static ChannelGroup membersOf(String name) {
		return topics.computeIfAbsent(name, made -> new DefaultChannelGroup(GlobalEventExecutor.INSTANCE));
	}

	static class Serve extends SimpleChannelInboundHandler<WebSocketFrame> {
		ChannelGroup published;
		boolean echoes;

		@Override
		public void userEventTriggered(ChannelHandlerContext context, Object event) {
			if (!(event instanceof WebSocketServerProtocolHandler.HandshakeComplete))
				return;
			String path = ((WebSocketServerProtocolHandler.HandshakeComplete) event).requestUri();
			String[] words = path.split("/");
			echoes = words[1].equals("echo");
			if (words[1].equals("topic") || words[1].equals("relay"))
				for (String name : words[2].split(","))
					membersOf(name).add(context.channel());
			if (words[1].equals("publish") || words[1].equals("relay"))
				published = membersOf(words[2]);
		}

		@Override
		protected void channelRead0(ChannelHandlerContext context, WebSocketFrame frame) {
			if (published != null)
				published.write(frame.retain());
			else if (echoes)
				context.write(frame.retain());
		}

		@Override
		public void channelReadComplete(ChannelHandlerContext context) {
			if (published != null)
				published.flush();
			else
				context.flush();
		}
	}

	public static void main(String[] arguments) throws Exception {
		EventLoopGroup group = new NioEventLoopGroup(1);
		new ServerBootstrap().group(group).channel(NioServerSocketChannel.class)
			.option(ChannelOption.SO_BACKLOG, 4096)
			.childOption(ChannelOption.TCP_NODELAY, true)
			.childHandler(new ChannelInitializer<SocketChannel>() {
				@Override
				protected void initChannel(SocketChannel channel) {
					channel.pipeline().addLast(new HttpServerCodec(), new HttpObjectAggregator(65536),
						new WebSocketServerProtocolHandler("/", null, false, 16 << 20, false, true), new Serve());
				}
			})
			.bind("127.0.0.1", Integer.parseInt(arguments[0])).sync().channel().closeFuture().sync();
	}
}
