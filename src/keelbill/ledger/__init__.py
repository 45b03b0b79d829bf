"""Money: wallets, holds, transfers, prices. The only writer of money tables; knows no jobs and no pictures."""
