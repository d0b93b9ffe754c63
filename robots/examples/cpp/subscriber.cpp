// Hears Otter Edge and prints one JSON object per message: the envelope, the message as its "body".
//
//   apt-get install g++ libzmq3-dev cppzmq-dev nlohmann-json3-dev
//   g++ -std=c++17 -O2 subscriber.cpp -o subscriber -lzmq
//   ./subscriber ipc:///run/user/1000/otter-edge/stream answer health
//   ./subscriber --vector FILE...                      decodes envelopes from files instead
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <zmq_addon.hpp>

using nlohmann::json;

json print(const std::string& bytes) {
    const json envelope = json::from_msgpack(bytes);
    if (envelope.at("version") != 1) throw std::runtime_error("another major version");
    std::cout << envelope.dump() << std::endl;
    return envelope;
}

void hear(zmq::socket_t& stream) {
    std::map<std::string, json> last;  // per topic: a hole in seq within an epoch is a loss
    for (std::vector<zmq::message_t> parts; zmq::recv_multipart(stream, std::back_inserter(parts)); parts.clear()) {
        try {
            const json now = print(parts.at(1).to_string());  // topic | envelope | blob
            json& before = last[now.at("topic")];
            if (!before.is_null() && before["epoch"] == now["epoch"] && now["seq"] != before["seq"].get<int64_t>() + 1)
                std::cerr << "missed some of " << now["topic"] << " before " << now["seq"] << std::endl;
            before = now;
        } catch (const std::exception& error) {
            std::cerr << "no message of ours: " << error.what() << std::endl;
        }
    }
}

int main(int count, char** words) {
    if (count < 3) return std::cerr << "usage: subscriber ENDPOINT TOPIC... | --vector FILE...\n", 2;
    if (words[1] == std::string("--vector")) {
        for (int i = 2; i < count; ++i) {
            std::ifstream file(words[i], std::ios::binary);
            print({std::istreambuf_iterator<char>(file), {}});
        }
        return 0;
    }
    zmq::context_t context;
    zmq::socket_t stream(context, zmq::socket_type::sub);
    stream.set(zmq::sockopt::maxmsgsize, int64_t{1} << 20);
    // The closing slash matters: ZeroMQ subscriptions are prefixes.
    for (int i = 2; i < count; ++i) stream.set(zmq::sockopt::subscribe, std::string(words[i]) + "/1/");
    stream.connect(words[1]);
    hear(stream);
}
