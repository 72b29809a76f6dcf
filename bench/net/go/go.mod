module iora/bench/net

go 1.19
