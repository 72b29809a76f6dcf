module iora/bench

go 1.19
