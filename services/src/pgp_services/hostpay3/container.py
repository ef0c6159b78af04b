"""What PGP_HOSTPAY3_v1 reads, and what it is made of."""

from __future__ import annotations

from dependency_injector import providers

from pgp_config import PerVersion
from pgp_services import catalogue
from pgp_services.clients.cloud_tasks import Target
from pgp_services.clients.ethereum import EthereumClient
from pgp_services.clients.wallet import Wallet
from pgp_services.fleet import Fleet, WithDatabase, WithTasks
from pgp_services.hostpay3.endpoint import Endpoint, KeyedRpc
from pgp_services.hostpay3.handler import HostPay3Handler
from pgp_services.names import LEDGER_QUEUE, Service
from pgp_services.provided import Constant


class HostPay3(WithDatabase, WithTasks):
    """The secrets of PGP_HOSTPAY3_v1, each by the name that the catalogue gives it, and its parts."""

    reload_policy = catalogue.policy_of(Service.HOSTPAY3)

    host_wallet_private_key = catalogue.HOST_WALLET_PRIVATE_KEY.secret()
    success_url_signing_key = catalogue.SUCCESS_URL_SIGNING_KEY.secret()

    ethereum_rpc_url_api = catalogue.ETHEREUM_RPC_URL_API.secret()
    pgp_hostpay1_response_queue = catalogue.PGP_HOSTPAY1_RESPONSE_QUEUE.secret()
    pgp_hostpay1_url = catalogue.PGP_HOSTPAY1_URL.secret()
    pgp_hostpay3_queue = catalogue.PGP_HOSTPAY3_QUEUE.secret()
    pgp_hostpay3_url = catalogue.PGP_HOSTPAY3_URL.secret()

    hostpay1 = providers.Singleton(Target, pgp_hostpay1_response_queue, pgp_hostpay1_url)
    itself = providers.Singleton(Target, pgp_hostpay3_queue, pgp_hostpay3_url)
    ledger_queue = providers.Singleton(Constant, LEDGER_QUEUE)
    ledger = providers.Singleton(Target, ledger_queue, pgp_hostpay3_url)
    keyed_rpc = PerVersion(KeyedRpc, ethereum_rpc_url_api)
    rpc = providers.Singleton(
        Endpoint, keyed_rpc, base_url=Fleet.settings.provided.ethereum_base_url
    )
    ethereum = providers.Singleton(EthereumClient, rpc=rpc, secret=ethereum_rpc_url_api)
    wallet = providers.Singleton(Wallet, host_wallet_private_key)
    handler = providers.Singleton(
        HostPay3Handler,
        signing_key=success_url_signing_key,
        ethereum=ethereum,
        wallet=wallet,
        tasks=WithTasks.tasks,
        itself=itself,
        ledger=ledger,
        hostpay1=hostpay1,
    )
