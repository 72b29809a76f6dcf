// bench/net/echo_asio.cpp -- the echo server on Boost.Asio with stackful coroutines.
//
// One thread, and Asio is told so: without its locks (BOOST_ASIO_DISABLE_THREADS) and with a
// concurrency hint of 1 it takes less time. Stacks are those of boost::asio::spawn by default, from malloc
// and without guard pages.

#include "server.h"

#include <boost/asio.hpp>
#include <boost/asio/spawn.hpp>
#include <boost/version.hpp>

#include <array>
#include <cstddef>
#include <unistd.h>
#include <utility>

namespace asio = boost::asio;
using asio::ip::tcp;

namespace
{

std::uint64_t bytes;

void
serve(tcp::socket client, asio::yield_context yield)
{
    std::array<char, 2048> buffer;
    boost::system::error_code error;

    client.non_blocking(true);
    for (;;) {
        const std::size_t n = client.async_read_some(asio::buffer(buffer), yield[error]);
        if (error)
            return;
        bytes += n;
        std::size_t sent = client.write_some(asio::buffer(buffer, n), error);
        if (!error && sent < n)
            error = asio::error::would_block;
        if (error == asio::error::would_block)
            asio::async_write(client, asio::buffer(buffer, n) + sent, yield[error]);
        if (error)
            return;
    }
}

void
accept_all(tcp::acceptor &acceptor, asio::yield_context yield)
{
    auto executor = acceptor.get_executor();

    for (;;) {
        tcp::socket client(executor);
        acceptor.async_accept(client, yield);
        // A coroutine's function must be copyable; a socket can only be moved.
        auto shared = std::make_shared<tcp::socket>(std::move(client));
        asio::spawn(executor, [shared](asio::yield_context y) { serve(std::move(*shared), y); });
    }
}

} // namespace

int
main(int argc, char **argv)
{
    server_about(argc, argv, "Boost.Asio of Boost " BOOST_LIB_VERSION ", spawn, one thread");
    asio::io_context context(1);
    tcp::acceptor acceptor(context, tcp::v4(), server_listen());
    asio::posix::stream_descriptor input(context, ::dup(STDIN_FILENO));

    asio::spawn(context, [&](asio::yield_context yield) { accept_all(acceptor, yield); });
    input.async_wait(asio::posix::stream_descriptor::wait_read,
                     [&](boost::system::error_code) { context.stop(); });
    context.run();
    server_report(bytes / SERVER_MESSAGE);
    return 0;
}
